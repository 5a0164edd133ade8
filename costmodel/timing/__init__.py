"""The time that a model really takes, beside the least that its roofline allows.

Seconds are measured here and nowhere else: ``costmodel.measures`` is the table of quantities that are counted.
"""

from costmodel.timing.make import measure as measure
from costmodel.timing.result import Measurement as Measurement

"""What generating text costs: the prompt at once, then token by token with the model's own cache."""

from costmodel.decoding.make import generation as generation
from costmodel.decoding.result import Generation as Generation

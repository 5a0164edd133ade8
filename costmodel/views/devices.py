"""The devices that can be named, as a table."""

from __future__ import annotations

from costmodel.devices import Device, device, device_names
from costmodel.errors import InputError
from costmodel.views import grid, units
from costmodel.views.styled import Part, Text


def parts(width: int) -> list[Part | str]:
    """A row per device: peaks in three dtypes, bandwidth, memory and power; then how to add one."""
    rows = [(name, _found(name)) for name in device_names()]
    known = [(name, found) for name, found in rows if found is not None]
    labels = [Text(name) for name, _ in known]

    def rate(found: Device, dtype: str) -> str:
        return units.si(found.peak[dtype]) if dtype in found.peak else "–"

    columns = [
        grid.Column("", [found.title for _, found in known], 1, right=False),
        grid.numbers("float32", [rate(found, "float32") for _, found in known], 5),
        grid.numbers("bfloat16", [rate(found, "bfloat16") for _, found in known], 4),
        grid.numbers("int8", [rate(found, "int8") for _, found in known], 4),
        grid.numbers("bandwidth", [units.si(found.bandwidth, "B/s") for _, found in known], 5),
        grid.numbers("memory", [units.si(found.memory, "B") if found.memory else "–" for _, found in known], 3),
        grid.numbers("power", [f"{found.power:.0f} W" if found.power else "–" for _, found in known], 2),
    ]
    made, _ = grid.table("", labels, columns, width, least=max(label.cell_len for label in labels))
    rest = ["this-cpu is there after `costmodel calibrate`."] if len(known) < len(rows) else []
    peaks = "Peaks are FLOP/s, a multiply-accumulate being two; of int8 operations/s."
    own = "A device of your own is a TOML file, as costmodel/devices.toml: --device mine.toml."
    return [made, "", grid.dim([peaks, *rest, own])]


def _found(name: str) -> Device | None:
    try:
        return device(name)
    except InputError:  # this-cpu, before it is measured
        return None

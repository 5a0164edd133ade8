"""``Registry``: what the files of ``costmodel.ops`` define of aten ops. A file is loaded when it is first needed."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import ClassVar, TypeVar

Entry = TypeVar("Entry")


class Registry(dict[str, Entry]):
    """Entries by target. A file of them is imported when one of its targets is asked for; all are, to iterate.

    Importing all takes 30 ms, those that a first profile of MobileNetV2 asks for take 8.

    It counts its changes, so that caches know when they are stale. Importing a file is no change.
    """

    changes = 0
    import_file: ClassVar[staticmethod[[str], object]]
    """Set by ``costmodel.ops``: the files import this one, which must not import them."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self._file_of = {target_of(name): file for file, names in files.items() for name in names.split()}
        self._to_come = set(self._file_of)

    def __missing__(self, target: str) -> Entry:
        if self._is_in_a_file(target):
            return self[target]
        raise KeyError(target)

    def get(self, target: str, default: Entry | None = None) -> Entry | None:  # type: ignore[override]
        """The entry of a target, if it has one."""
        try:
            return self[target]
        except KeyError:
            return default

    def is_registered(self, target: str) -> bool:
        """Whether a target has an entry by now. Whoever registers a file's entries asks this, for each."""
        return super().__contains__(target)

    def __contains__(self, target: object) -> bool:
        return super().__contains__(target) or self._is_in_a_file(target)

    def __setitem__(self, target: str, entry: Entry) -> None:
        if target in self._to_come:
            self._to_come.discard(target)
        else:
            self.changes += 1
        super().__setitem__(target, entry)

    def __delitem__(self, target: str) -> None:
        self._is_in_a_file(target)
        self.changes += 1
        super().__delitem__(target)

    def __iter__(self) -> Iterator[str]:
        self._import_all()
        return super().__iter__()

    def __len__(self) -> int:
        self._import_all()
        return super().__len__()

    def keys(self) -> KeysView[str]:  # type: ignore[override]  # typeshed's view of dict alone
        """Every target."""
        self._import_all()
        return super().keys()

    def values(self) -> ValuesView[Entry]:  # type: ignore[override]
        """Every entry."""
        self._import_all()
        return super().values()

    def items(self) -> ItemsView[str, Entry]:  # type: ignore[override]
        """Every target with its entry."""
        self._import_all()
        return super().items()

    def _is_in_a_file(self, target: object) -> bool:
        """Imports the file of a target; whether the target is there now. One that was deleted stays so."""
        file = self._file_of.get(target)  # type: ignore[call-overload]  # any object may be asked for
        if file is None:
            return False
        self.import_file(file)
        return super().__contains__(target)

    def _import_all(self) -> None:
        for file in self._files:
            self.import_file(file)


def target_of(name: str) -> str:
    """The target that ``costmodel.ops.files`` abbreviates.

    >>> target_of("relu"), target_of("add.Tensor"), target_of("torchvision::nms")
    ('aten.relu.default', 'aten.add.Tensor', 'torchvision.nms.default')
    """
    namespace, _, op = name.rpartition("::")
    return f"{namespace or 'aten'}.{op}" if "." in op else f"{namespace or 'aten'}.{op}.default"

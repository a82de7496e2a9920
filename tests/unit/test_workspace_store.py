"""A store of blobs: whole or not at all, and no larger than it may be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from codex_orchestrator.errors import StorageError
from codex_orchestrator.workspace.pieces import Piece
from codex_orchestrator.workspace.snapshot import digest_of
from codex_orchestrator.workspace.store import BlobStore, DamagedBlob

DATA = b"some content"
DIGEST = digest_of(DATA)


@pytest.fixture
def store(tmp_path):
    return BlobStore(tmp_path / "store")


def piece(data: bytes, offset: int = 0, *, of: bytes = DATA) -> Piece:
    return Piece(digest_of(of), offset, data, last=offset + len(data) >= len(of))


def files_in(store: BlobStore) -> list[str]:
    return sorted(path.name for path in store.folder.rglob("*") if path.is_file())


def test_what_was_put_is_there(store):
    assert store.lacking({DIGEST: len(DATA)}) == [DIGEST]
    store.put([piece(DATA)])
    assert store.lacking({DIGEST: len(DATA)}) == []
    assert b"".join(store.read(DIGEST)) == DATA
    assert files_in(store) == [DIGEST]


def test_a_blob_comes_in_pieces_and_batches(store):
    store.put([piece(DATA[:4])])
    assert store.lacking({DIGEST: len(DATA)}) == [DIGEST]
    store.put([piece(b"", of=b""), piece(DATA[4:6], 4)])
    store.put([piece(DATA[6:], 6)])
    assert store.lacking({DIGEST: len(DATA), digest_of(b""): 0}) == []


def test_what_was_made_is_kept_by_its_digest(store):
    assert store.add(iter([DATA[:3], DATA[3:]])) == (DIGEST, len(DATA))
    assert [one.data for one in store.pieces([DIGEST])] == [DATA]
    assert files_in(store) == [DIGEST]


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        ([Piece(DIGEST, 0, b"other", last=True)], "is another"),
        ([Piece(DIGEST, 0, DATA[:5], last=True)], "is another"),
        ([piece(DATA[4:], 4)], "beginning of the blob"),
        ([Piece("../../x", 0, b"", last=True)], "is no digest"),
        ([Piece(DIGEST.upper(), 0, DATA, last=True)], "is no digest"),
    ],
)
def test_what_is_no_blob_is_refused(store, pieces, told):
    with pytest.raises(DamagedBlob, match=told):
        store.put(pieces)
    assert files_in(store) == []


def test_a_piece_that_is_missing_is_found(store):
    with pytest.raises(StorageError) as caught:
        store.put([piece(DATA[:4]), piece(DATA[6:], 6)])
    assert "something is missing" in str(caught.value)
    assert store.lacking({DIGEST: len(DATA)}) == [DIGEST]
    # The sender begins anew.
    store.put([piece(DATA)])
    assert store.lacking({DIGEST: len(DATA)}) == []


def test_a_blob_that_has_changed_on_disk_is_not_used(store):
    store.put([piece(DATA)])
    place = next(path for path in store.folder.rglob(DIGEST))
    place.write_bytes(DATA.upper())
    with pytest.raises(DamagedBlob, match="does not have the blob"):
        b"".join(store.read(DIGEST))
    assert store.lacking({DIGEST: len(DATA)}) == [DIGEST]


def test_a_blob_that_was_cut_is_lacking(store):
    store.put([piece(DATA)])
    os.truncate(next(path for path in store.folder.rglob(DIGEST)), 3)
    assert store.lacking({DIGEST: len(DATA)}) == [DIGEST]
    store.put([piece(DATA)])
    assert b"".join(store.read(DIGEST)) == DATA


def test_the_store_keeps_to_its_limit(store):
    digests = []
    for number in range(4):
        data = bytes([number]) * 100
        digests.append(store.add([data])[0])
        os.utime(next(store.folder.rglob(digests[-1])), (number, number))
    store.lacking({digests[0]: 100})  # It counts as used now.
    assert store.trim({digests[1]}, 300) == 1
    assert files_in(store) == sorted({*digests} - {digests[2]})
    assert store.trim({digests[1]}, 0) == 2
    assert files_in(store) == [digests[1]]


def test_a_writer_that_is_killed_in_the_middle_leaves_no_blob(tmp_path):
    program = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from codex_orchestrator.workspace.pieces import Piece
        from codex_orchestrator.workspace.store import BlobStore
        store = BlobStore(Path(sys.argv[1]))
        digest, half = sys.argv[2], sys.argv[3].encode()
        store.put([Piece(digest, 0, half, last=False)])
        def chunks():
            yield half
            os.kill(os.getpid(), signal.SIGKILL)
        store.add(chunks())
        """
    )
    folder = tmp_path / "store"
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), DIGEST, DATA[:5].decode()], check=False
    )
    assert done.returncode == -signal.SIGKILL
    store = BlobStore(folder)
    assert list((folder / "blobs").rglob("*")) == []
    assert store.lacking({DIGEST: len(DATA)}) == [DIGEST]
    store.put([piece(DATA)])
    assert b"".join(store.read(DIGEST)) == DATA

"""What is said of work that was asked to stop."""

import pytest

from singan_tf.cli import interruption


@pytest.mark.parametrize(
    ("words", "said"),
    [([], "all is saved; go on with: main.py fleet"), (["it goes on."], "it goes on.")],
)
def test_only_what_is_saved_is_said_to_be(words, said):
    with pytest.raises(KeyboardInterrupt) as stopped:
        with interruption.resumable(LookupError, "main.py fleet"):
            raise LookupError(*words)
    assert str(stopped.value) == said

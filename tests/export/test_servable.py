import numpy as np
import pytest
import tensorflow as tf

from export import servable


def two_failures():
    """TensorFlow's own message where two nodes fail in one run."""
    graph = tf.Graph()
    with graph.as_default():
        given = tf.compat.v1.placeholder(tf.float32, [])
        checks = [
            tf.debugging.Assert(
                given > least, [f"it must be above {least}, not", given]
            )
            for least in (10, 20)
        ]
    with tf.compat.v1.Session(graph=graph) as session:
        messages = set()
        for _ in range(50):
            with pytest.raises(tf.errors.InvalidArgumentError) as error:
                session.run(checks, {given: np.float32(1)})
            messages.add(error.value.message)
    return messages


def test_the_first_sentence_of_tensorflow_is_enough():
    for message in two_failures():
        assert "node" in message
        sentence = servable.first_sentence(message)
        assert sentence in (
            "assertion failed: [it must be above 10, not] [1]",
            "assertion failed: [it must be above 20, not] [1]",
        )


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("", "The call failed."),
        ("Plain.", "Plain."),
        ("size must be 2, not [[3 4]]", "size must be 2, not [[3 4]]"),
        (
            "Bad.\n\t [[{{node a/b}}]]\n\t [[c]]\n\nOriginal stack trace for 'a/b':\n",
            "Bad.",
        ),
        (
            "2 root error(s) found.\n  (0) INVALID_ARGUMENT: One,\ntwo.\n\t [[{{node "
            "a}}]]\n\t [[b]]\n  (1) INVALID_ARGUMENT: Three.\n0 successful operations.",
            "One, two.",
        ),
        ("Graph execution error:\n\nBad.\n\t [[{{node a}}]]", "Bad."),
    ],
)
def test_messages_become_a_line(message, sentence):
    assert servable.first_sentence(message) == sentence

import pytest

import main


@pytest.fixture(scope="session")
def trained(made_once):
    """A run that has learnt something; never write into it."""

    def fill(folder):
        arguments = ["--image=rocket", f"--run_dir={folder / 'trained'}"]
        arguments += ["--max_size=64", "--min_size=16", "--num_scales=4"]
        arguments += ["--steps=120", "--width=16", "--width_doubling=0"]
        arguments += ["--critic_updates=1", "--generator_updates=1"]
        arguments.append("--learning_rate_schedule=cosine")
        assert main.main(["main.py", "train", *arguments]) == 0

    return made_once("trained", fill) / "trained"

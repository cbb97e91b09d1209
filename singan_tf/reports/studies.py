"""The seed reports' experiments: a table of studies, each of which is a table of rows.

A row is an ordinary run: settings that differ from the budget's.
"""

import pathlib
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple, Optional

from singan_tf import config as config_lib
from singan_tf.config import Config
from singan_tf.errors import UsageError
from singan_tf.schedule import map_numbers

# The name of the run of the budget's own settings.
BASELINE = "baseline"


class Times(NamedTuple):
    """A multiple of the budget's value of a setting."""

    factor: float

    def of(self, name: str, value: Any) -> Any:
        """The multiple of a setting, also by scale: of whole numbers, whole ones.

        Raises:
            UsageError: if a text is none of numbers by scale.
        """
        return map_numbers(
            name,
            value,
            lambda each: (
                max(1, round(each * self.factor))
                if isinstance(each, int)
                else each * self.factor
            ),
        )


class Row(NamedTuple):
    """A run of a study, and how it is sampled.

    Attributes:
        caption: What it is, in a few words.
        settings: What differs from the budget's settings: values, or `Times`.
        start_scale: Of its samples; below 0 it counts from the end.
        sketch: In place of samples, a drawing is painted: scales from the start scale
            on are trained again on sketches.
    """

    caption: str
    settings: dict[str, Any] = {}
    start_scale: int = 0
    sketch: bool = False


class Claim(NamedTuple):
    """What a report found, in a form that measurements can contradict.

    Attributes:
        words: What it says.
        row: The caption of the row that it is about.
        against: The caption of the row that this one is compared with.
        column: The measured value, a key of `study_tables.COLUMNS`.
        direction: What the row's values are, one of `verdicts.DIRECTIONS`.
    """

    words: str
    row: str
    against: str
    column: str
    direction: str


class Study(NamedTuple):
    """An experiment.

    Attributes:
        title: What is compared.
        found: What the seed report found.
        rows: In the order of the page.
        show: What the page has beside samples: "twice", samples of twice the size;
            "losses", their curves.
        claims: What of the report's findings is measured.
        eye: What of them is not, and why.
        budget: The budget that suits it.
    """

    title: str
    found: str
    rows: Sequence[Row]
    show: tuple[str, ...] = ()
    claims: Sequence[Claim] = ()
    eye: str = ""
    budget: str = "quick"


class Commands(NamedTuple):
    """The command lines of a study, each run in a process of its own.

    Attributes:
        train: Trains an image in a run folder with a configuration.
        paint: Paints a drawing with a run, from a scale on, into a folder, by stages
            that are trained on sketches.
    """

    train: Callable[[str, pathlib.Path, Config], list[str]]
    paint: Callable[[pathlib.Path, int, pathlib.Path], list[str]]


class Plan(NamedTuple):
    """What a study is carried out on.

    Attributes:
        images: The photographs, each a path or a name that scikit-image carries.
        seeds: The number of seeds, from that of the settings on.
        settings: Of the budget, every one by name.
        num_samples: Measured of each row.
        folder: STUDY_DIR.
        commands: That train and paint.
        workers: The number of rows that are trained at a time.
        beam_flags: See `processes.carry_out`.
        command: What a person calls to carry out the study.
    """

    images: Sequence[str]
    seeds: int
    settings: dict[str, Any]
    num_samples: int
    folder: pathlib.Path
    commands: Commands
    workers: int
    beam_flags: Optional[str]
    command: str

    def place(self, image: str) -> pathlib.Path:
        """The folder of a photograph's runs: STUDY_DIR itself where it is the only one.

        Raises:
            UsageError: if another of the photographs has the same name.
        """
        if len(self.images) == 1:
            return self.folder
        name = photograph_name(image)
        if [photograph_name(each) for each in self.images].count(name) > 1:
            raise UsageError(
                f"Two of the photographs are called {name}; rename one of the files."
            )
        return self.folder / "photographs" / name


class Result(NamedTuple):
    """A row with one photograph and one seed, and what came of it.

    Attributes:
        row: The row.
        image: The photograph, as in the plan.
        run_dir: Its run.
        painted: Where a drawing is painted, if the row asks for it.
        config: Of the run.
        values: What was measured, JSON values by name; None if training failed.
        folder: With its metrics and pictures.
        error: Why training failed; empty if it did not.
    """

    row: Row
    image: str
    run_dir: pathlib.Path
    painted: pathlib.Path
    config: Config
    values: Optional[dict[str, Any]]
    folder: pathlib.Path
    error: str

    @property
    def seed(self) -> int:
        """The seed of its run."""
        return self.config.training.seed

    @property
    def pair(self) -> tuple[str, int]:
        """What two rows have in common where they are compared."""
        return self.image, self.seed


def photograph_name(image: str) -> str:
    """What a photograph is called: its file's name without the ending."""
    return pathlib.Path(image).stem


_AS_IT_IS = Row("the budget's own settings")
STUDIES = {
    "residual": Study(
        "Residual connection in the generator",
        "Report A, 1: no faster convergence with it, but a little more variation.",
        [
            Row("with", {"residual": True}),
            Row("without", {"residual": False}),
            Row("with, half the steps", {"residual": True, "steps": Times(0.5)}),
            Row("without, half the steps", {"residual": False, "steps": Times(0.5)}),
        ],
        claims=[
            Claim(
                "no faster convergence with it",
                "with, half the steps",
                "without, half the steps",
                "reconstruction_rmse",
                "not lower",
            ),
            Claim("a little more variation", "with", "without", "diversity", "higher"),
        ],
    ),
    "reconstruction_weight": Study(
        "Weight of the reconstruction loss",
        "Report A, 2: without it the contrast is off.",
        [
            Row(f"weight {weight:g}", {"reconstruction_weight": float(weight)})
            for weight in (0, 0.1, 1, 10)
        ],
        claims=[
            Claim(
                "without it the contrast is off",
                "weight 0",
                "weight 10",
                "sliced_wasserstein",
                "higher",
            ),
        ],
        eye="Contrast is measured by a distance of patches that sees more than it.",
    ),
    "texture": Study(
        "Texture loss on activations of VGG16",
        "Report A, 3: it does not help, and spoils samples where it dominates.",
        [
            # The reconstruction's weight is 10, so only the last one dominates.
            Row(f"weight {weight:g}", {"texture_weight": float(weight)})
            for weight in (0, 0.01, 0.1, 1, 100)
        ],
        claims=[
            Claim(
                "it does not help",
                "weight 0.01",
                "weight 0",
                "sliced_wasserstein",
                "not lower",
            ),
            Claim(
                "it spoils samples where it dominates",
                "weight 100",
                "weight 0",
                "plausibility",
                "higher",
            ),
        ],
    ),
    "sketch_to_paint": Study(
        "Sketch to paint",
        "Report A, 4: the last 3 scales trained with sketches as input, to turn a "
        "sketch into a painting.",
        [
            Row("the last scale", start_scale=-1, sketch=True),
            Row("the last 2 scales", start_scale=-2, sketch=True),
            Row("the last 3 scales", start_scale=-3, sketch=True),
        ],
        eye="Whether what comes of a sketch is a painting.",
    ),
    "variation": Study(
        "Where in the image samples vary",
        "Report A, 5: a map of the variance of each pixel over samples.",
        [Row(f"from scale {scale} on", {}, scale) for scale in range(3)],
        eye="Where in the image samples vary is a map; the report gives no number.",
    ),
    "scale_factor": Study(
        "Scale factor, and with it the number of scales",
        "Report A, 6: 0.75 was chosen.",
        [
            Row(f"factor {factor}", {"scale_factor": factor})
            for factor in (0.5, 0.65, 0.75, 0.85)
        ],
        eye="The report chose a factor and gives no reason that can be measured.",
    ),
    "pyramid_limits": Study(
        "Limits of the pyramid",
        "Report A, 7: a longest side of 520 in place of 250 made 12 scales of 25 to "
        "520 pixels, a coarsest side of 12 in place of 25 made 13; they looked at "
        "samples of twice the size.",
        [
            _AS_IT_IS,
            Row("twice the finest size", {"max_size": Times(2.08)}),
            Row("half the coarsest size", {"min_size": Times(0.48)}),
        ],
        ("twice",),
        eye="The report shows samples of both and compares none by a number.",
    ),
    "losses": Study(
        "Losses over steps",
        "Report A, 8: the critic on the photograph and on fakes, the critic's loss, "
        "the reconstruction's and the generator's.",
        [_AS_IT_IS],
        ("losses",),
        eye="The report shows curves; they are compared with ours by looking.",
    ),
    "padding": Study(
        "What surrounds the image",
        "Report B, 2: circular padding keeps the elements and loses their order, as "
        "zeros tell the network where the borders are.",
        [
            Row(padding, {"padding": padding})
            for padding in ("zeros", "circular", "reflect", "noise")
        ],
        claims=[
            Claim(
                "circular padding keeps the elements",
                "circular",
                "zeros",
                "plausibility",
                "not higher",
            ),
            Claim(
                "circular padding loses the order of the elements",
                "circular",
                "zeros",
                "diversity",
                "higher",
            ),
        ],
        eye="Order is measured by how much samples differ at each place, which has "
        "other causes too.",
    ),
    "adversaries": Study(
        "A critic, or a distance of patches in its place",
        "Report B, 3 to 5: Frechet far faster and poor; nearest neighbour of good "
        "structure and texture; aligned nearest neighbour unstable.",
        [
            Row("critic", {"adversary": "critic"}),
            # Their step is one update: they take more steps in a critic's time.
            *(
                Row(name.replace("_", " "), {"adversary": name, "steps": Times(3)})
                for name in config_lib.ADVERSARIES[1:]
            ),
            Row(
                "critic to scale 2, then sliced wasserstein",
                {"adversary": "0-2:critic,3-:sliced_wasserstein"},
            ),
        ],
        claims=[
            Claim(
                "Frechet far faster, with three times the steps too",
                "frechet",
                "critic",
                "seconds",
                "lower",
            ),
            Claim("Frechet poor", "frechet", "critic", "plausibility", "higher"),
            Claim(
                "nearest neighbour of good structure and texture",
                "nearest neighbor",
                "frechet",
                "plausibility",
                "lower",
            ),
        ],
        eye="Whether the aligned nearest neighbour is unstable: an unstable run ends "
        "with an error or differs much between seeds, which few seeds cannot test.",
    ),
    "hyperparameters": Study(
        "Quality against time",
        "Report B, 1: their SIFID at the end was 0.1 to 0.5 at the finest of 9 "
        "scales, with 2000 iterations a scale.",
        [
            _AS_IT_IS,
            Row("half the channels", {"width": Times(0.5), "max_width": Times(0.5)}),
            Row("twice the channels", {"width": Times(2), "max_width": Times(2)}),
            Row("half the steps", {"steps": Times(0.5)}),
            Row("twice the steps", {"steps": Times(2)}),
            *(
                Row(
                    f"learning rates {caption}",
                    {
                        "critic_learning_rate": Times(factor),
                        "generator_learning_rate": Times(factor),
                    },
                )
                for caption, factor in (("a fifth", 0.2), ("doubled", 2.0))
            ),
            Row("1 critic update", {"critic_updates": 1}),
            Row("5 critic updates", {"critic_updates": 5}),
            Row("1 generator update", {"generator_updates": 1}),
            Row("5 generator updates", {"generator_updates": 5}),
        ],
        eye="The report's SIFID is of other photographs and sizes, with no second row "
        "to compare.",
    ),
    "reconstruction_noise": Study(
        "Reconstruction noise redrawn or fixed",
        "The paper fixes it; the reference code redraws it at every step of the "
        "coarsest scale.",
        [
            Row("redrawn", {"reconstruction_noise": "redrawn"}),
            Row("fixed", {"reconstruction_noise": "fixed"}),
        ],
        eye="The paper and the code disagree; neither says which is better.",
    ),
    "reference": Study(
        "The recipe of the reference code at a small size",
        "No report's: six scales of 500 steps at 80 pixels take minutes a run, so that "
        "SIFID and diversity over several seeds can be put beside those of another "
        "implementation on the same photograph.",
        [_AS_IT_IS],
        eye="Another implementation's values are for the reader to put beside these.",
        budget="reference",
    ),
}

"""Environments: rebuilt bit for bit, each episode one of its own, refusals that help."""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np
import pytest
import torch

from weft.errors import ConfigError, MissingExtra
from weft.families.cet.control import worlds as module
from weft.families.cet.control.worlds import Worlds, make, space

pytest.importorskip("gymnasium", reason="the extra `rl` is not installed")

CARTPOLE, LANDER = "CartPole-v1", "LunarLander-v3"


def acted(worlds: Worlds, steps: int, seed: int) -> list[np.ndarray[Any, Any]]:
    """All that `steps` random actions bring."""
    draws = np.random.default_rng(seed)
    found = []
    for _ in range(steps):
        moment = worlds.step(draws.integers(space(worlds.name).actions, size=worlds.count))
        found += [*moment, worlds.seen]
    worlds.remember()
    return found


@pytest.mark.parametrize(("name", "steps"), [(CARTPOLE, 50), (LANDER, 130)])
@pytest.mark.parametrize("how", ["loaded", "copied"])
def test_environments_made_of_a_checkpoint_go_on_bit_for_bit(
    name: str, steps: int, how: str
) -> None:
    straight = Worlds(name, 3, seed=1)
    moments = acted(straight, steps, seed=2)
    assert any(done.any() for done in moments[3::5])
    if how == "copied":
        again = copy.deepcopy(straight)
    else:
        again = Worlds(name, 3, seed=1)
        acted(again, 5, seed=9)  # What was lived before must not matter.
        again.load_state_dict(straight.state_dict())
    one, other = acted(straight, steps, seed=4), acted(again, steps, seed=4)
    assert all(map(np.array_equal, one, other))
    kept = again.state_dict()
    for key, buffer in straight.state_dict().items():
        assert torch.equal(buffer, kept[key]), key


def test_every_episode_of_every_environment_and_seed_begins_elsewhere() -> None:
    began, count = set(), 0
    for seed in (0, 1):
        worlds = Worlds(CARTPOLE, 4, seed)
        began |= {row.tobytes() for row in worlds.seen}
        for _ in range(60):
            done = worlds.step(np.zeros(4, np.int64)).done
            began |= {row.tobytes() for row in worlds.seen[done]}
        worlds.remember()
        count += 4 + int(worlds.begun.sum())
    assert len(began) == count > 40


def test_returns_are_those_of_the_last_episodes_that_ended() -> None:
    worlds = Worlds(CARTPOLE, 2, seed=0)
    lengths, running = [], np.zeros(2)
    for _ in range(70):
        moment = worlds.step(np.ones(2, np.int64))
        running += moment.reward
        lengths += running[moment.done].tolist()
        running[moment.done] = 0
    worlds.remember()
    assert len(lengths) > 5 and worlds.returns[-len(lengths) :].tolist() == lengths
    assert float(worlds.recent) == pytest.approx(np.mean(lengths))


def test_an_episode_cut_for_its_length_has_not_come_to_its_own_end() -> None:
    worlds = Worlds(CARTPOLE, 1, seed=0)
    for step in range(500):
        place, speed, angle, turn = worlds.seen[0]
        push = angle + 0.5 * turn + 0.05 * place + 0.1 * speed > 0  # Balances as long as one likes.
        moment = worlds.step(np.array([push], np.int64))
        assert moment.done[0] == (step == 499)
    assert not moment.terminated[0]


def test_without_gymnasium_or_box2d_the_command_that_installs_them_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import gymnasium

    def lacks_box2d(*args: Any, **options: Any) -> None:
        raise gymnasium.error.DependencyNotInstalled("Box2D is not installed")

    with monkeypatch.context() as patched:
        patched.setattr(gymnasium, "make", lacks_box2d)
        with pytest.raises(MissingExtra, match="LunarLander-v3 needs the package") as caught:
            make(LANDER)
        assert "pip install 'weft[rl]'" in str(caught.value)
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(MissingExtra, match="needs the package `gymnasium`") as caught:
        make(CARTPOLE)
    assert "pip install 'weft[rl]'" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [("CartPoel-v1", "no environment `CartPoel-v1`"), ("Pendulum-v1", "a number of actions"),
     ("CartPole-v9", "no environment"), ("FrozenLake-v1", "a vector observed")],
)  # fmt: skip
def test_environments_that_cannot_be_acted_in_are_refused(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"control\.environment") as caught:
        module.space(name)
    assert says in str(caught.value)


def test_without_gymnasium_the_install_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gymnasium", "gymnasium.spaces"):
        monkeypatch.setitem(sys.modules, name, None)
    space.cache_clear()
    with pytest.raises(MissingExtra, match="learning to act") as caught:
        space(CARTPOLE)
    assert caught.value.hint == "pip install 'weft[rl]'"

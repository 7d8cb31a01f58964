"""Which options of jepa have an effect only where another one has some value."""

from __future__ import annotations

_VICREG = ("sim_coeff", "std_coeff", "cov_coeff", "encoding_std_coeff", "encoding_cov_coeff",
           "action_coeff", "decoding_coeff", "repr_loss_after_projector")  # fmt: skip

NEEDS = {
    **{f"vicreg.{name}": "objective=vicreg" for name in _VICREG},
    # Terms of combo take these.
    "vicreg.skip_first_step_vc": "objective=vicreg|combo",
    "simclr": "objective=simclr|combo",
    "rssm": "objective=rssm",
    "idm": "objective=idm",
    "supervised": "objective=supervised",
    "terms": "objective=combo",
    "combo": "objective=combo",
    "dataset_door": "dataset_rooms=2",
    "dataset_static_noise_speed": "dataset_static_noise",
    "dataset_structured_noise": "dataset_noise|dataset_static_noise",
    "noise_scale": "dataset_noise|dataset_static_noise",
    "noise_level": "noise",
    "norm_batches": "dataset_normalize",
    "model.random_projector": "model.projector!=id",
    "model.project_each_frame": "model.projector!=id",
    "model.backbone_width_factor": "model.arch=menet5",
    "probe.ridge": "probe.kind=closed_form",
    "probe.epochs": "probe.kind=published",
    "probe.mpc_planner": "probe.mpc",
    "probe.mpc_episodes": "probe.mpc",
    "probe.mpc_steps": "probe.mpc",
    "probe.mpc_horizon": "probe.mpc",
    "probe.mpc_iterations": "probe.mpc",
    "probe.mpc_lr": "probe.mpc probe.mpc_planner=gradient",
    "probe.mpc_candidates": "probe.mpc probe.mpc_planner=cem|mppi",
    "probe.mpc_elites": "probe.mpc probe.mpc_planner=cem",
    "probe.mpc_temperature": "probe.mpc probe.mpc_planner=mppi",
}
"""Option or section -> what it needs, as `weft.config.rule.needs_of` reads it."""

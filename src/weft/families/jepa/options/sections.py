"""Sections of a jepa run's options: optimiser, schedules, networks, objectives, read-out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, Field

from weft.config.section import KindConfig, Section


class Lars(KindConfig):
    """LARS (You et al. 2017); biases and norms get neither weight decay nor adaptation."""

    kind: Literal["lars"] = "lars"
    base_lr: float = Field(
        0.2, gt=0, description="Peak learning rate at a batch of 256; scaled by batch_size / 256."
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of the adapted gradient.")
    weight_decay: float = Field(1e-6, ge=0, description="L2 penalty added to the gradient.")
    eta: float = Field(1e-3, gt=0, description="Trust: length of an update per length of weights.")


class Clean(KindConfig):
    """Linear warm-up, then half a cosine that ends at `min_lr` times the peak at the last step."""

    kind: Literal["clean"] = "clean"
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of all steps spent warming up.")
    min_lr: float = Field(1e-3, ge=0, le=1, description="Floor, as a share of the peak.")


class Published(KindConfig):
    """The original's schedule: `clean` with a counter that starts one epoch too late."""

    kind: Literal["published"] = "published"
    warmup: float = Field(
        0.1, ge=0, lt=1, description="Share of all steps spent warming up: 10 of 100 epochs."
    )
    start: float = Field(
        0.01, ge=0, lt=1, description="Share of all steps the counter starts at: 1 of 100 epochs."
    )
    min_lr: float = Field(1e-3, ge=0, le=1, description="Floor, as a share of the peak.")


class ModelConfig(Section):
    """The encoder and the forward model, the same for every objective."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    arch: Literal[
        "menet5", "resnet18", "resnet18ID", "lenet5", "canonical", "mlp", "pixel", "id"
    ] = Field("menet5", description="Encoder of a frame.")
    backbone_width_factor: int = Field(2, ge=1, description="Width w of menet5: 16w, 32w, 32w.")
    backbone_mlp: str | None = Field(
        None,
        pattern=r"^\d+(-\d+)*$",
        description="Widths of layers appended to the encoder, such as `512` or `512-256`.",
    )
    embedding_size: int = Field(
        512, ge=1, description="Width D of a code; pixel and id have widths of their own."
    )
    channels: Literal[1, 3] = Field(
        1, description="Channels of a frame: 1, or 3 for one channel a dot."
    )
    predictor: str = Field(
        "rnn",
        pattern=r"^(rnn|rnn_burnin|id|conv|\d+(-\d+)*)$",
        description="Forward model: rnn (a GRU that starts at e_0), rnn_burnin (a GRU that reads "
        "[code, action] from zero, which rnn is too where `rnn_burnin` exceeds 1), id (repeats "
        "the first code), conv (pixels), or the hidden widths `515-512-512` of a residual MLP.",
    )
    rnn_layers: int = Field(1, ge=1, description="Layers of the GRU.")
    rnn_burnin: int = Field(1, ge=1, description="R: predictions begin at the R-th true code.")
    projector: str = Field(
        "id",
        pattern=r"^(id|\d+(-\d+)*)$",
        description="Widths of the layers between codes and loss, or id for none.",
    )
    random_projector: bool = Field(
        False, description="Whether the projector keeps its initial weights."
    )
    project_each_frame: bool = Field(
        False,
        description="Whether every predicted frame is projected with batch statistics of its own, "
        "as published; else like the true ones, so that a perfect prediction costs nothing.",
    )
    decoder: Literal["mirror", "published"] = Field(
        "mirror",
        description="Decoder of `decoding`: the encoder's mirror, or the original's (D = 512).",
    )
    frame_difference: bool = Field(
        False, description="Whether the encoder sees o_t - o_(t-1) beside o_t (zero at t = 0)."
    )
    swap_ground: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the training sequences whose rollout starts from their first frame "
        "put before another sequence's ground (the least of its frames), where grounds stay.",
    )
    channels_last: bool = Field(
        True, description="Whether convolutions run on channels-last memory (same numbers, faster)."
    )


class Vicreg(Section):
    """Coefficients of VICReg over time (Bardes et al. 2022)."""

    sim_coeff: float = Field(25.0, ge=0, description="Mean squared error of h_t against e_t.")
    std_coeff: float = Field(25.0, ge=0, description="Hinge on the spread of each code over B.")
    cov_coeff: float = Field(1.0, ge=0, description="Squared covariances between code entries.")
    encoding_std_coeff: float = Field(0.0, ge=0, description="std_coeff before the projector.")
    encoding_cov_coeff: float = Field(0.0, ge=0, description="cov_coeff before the projector.")
    action_coeff: float = Field(0.0, ge=0, description="Squared error of the actions read back.")
    decoding_coeff: float = Field(
        0.0, ge=0, description="Squared error of pixels decoded from e_t."
    )
    repr_loss_after_projector: bool = Field(
        False, description="Whether sim_coeff compares projections instead of codes."
    )
    skip_first_step_vc: bool = Field(
        True, description="Whether std and cov leave out the first frame."
    )


class Simclr(Section):
    """NT-Xent between predicted and true codes of the same time (Chen et al. 2020)."""

    loss_temp: float = Field(1.0, gt=0, description="Temperature of the softmax.")
    normalize_z: bool = Field(False, description="Whether codes are scaled to length 1.")
    action_coeff: float = Field(0.0, ge=0, description="Squared error of the actions read back.")
    decoding_coeff: float = Field(
        0.0, ge=0, description="Squared error of pixels decoded from e_t."
    )


class Rssm(Section):
    """The reconstruction baseline (Hafner et al. 2019)."""

    compat: bool = Field(
        False,
        description="Whether samples carry no gradient, the KL is prior || posterior and free "
        "nats hold per dimension, as published.",
    )
    min_var: float = Field(0.1, ge=0, description="Added to every standard deviation.")
    free_nats: float = Field(3.0, ge=0, description="KL below which there is no penalty.")
    kl_balance: float = Field(
        0.8, ge=0, le=1, description="Share of the KL's gradient that moves the prior."
    )
    action_coeff: float = Field(0.0, ge=0, description="Squared error of the actions read back.")


class Idm(Section):
    """Inverse dynamics: actions read back from neighbouring codes."""

    mode: Literal["published", "detached_forward"] = Field(
        "published",
        description="published: the read-out alone trains encoder and forward model; "
        "detached_forward: the forward model also learns to predict the (detached) codes.",
    )
    action_coeff: float = Field(1.0, gt=0, description="Squared error of the actions read back.")


class Supervised(Section):
    """The floor: positions read out by a map trained together with the networks."""

    backgrounds: Literal["train", "test"] = Field(
        "train",
        description="CIFAR-10 split behind the training dots; the original took that of scoring.",
    )
    tune_encoder: bool = Field(
        False,
        description="Whether the encoder's own score is that of a copy trained on for it by Adam "
        "(`probe.lr`, `probe.epochs_enc`), as published; else it is read out as it is.",
    )


class Terms(Section):
    """Weights of the loss terms of `objective: combo`; 0 leaves a term out."""

    forward: float = Field(0.3, ge=0, description="Mean squared error of h_t against e_t.")
    idm: float = Field(2.0, ge=0, description="Actions from [h_t, e_(t+1)] by a linear map.")
    idm_enc: float = Field(0.0, ge=0, description="Actions from [e_t, e_(t+1)] by an MLP.")
    within_infonce: float = Field(
        1.0, ge=0, description="Which frame of its own sequence h_t belongs to, among T."
    )
    infonce: float = Field(
        0.0, ge=0, description="Which frame of all sequences h_t belongs to, among T B."
    )
    centred_infonce: float = Field(
        0.0, ge=0, description="infonce on codes centred over time in each sequence."
    )
    var_ratio: float = Field(
        0.3, ge=0, description="Share of the codes' variance that is constant in a sequence."
    )
    std: float = Field(0.0, ge=0, description="VICReg's hinge on the spread over the batch.")
    cov: float = Field(0.0, ge=0, description="VICReg's squared covariances over the batch.")
    temporal_std: float = Field(
        0.0, ge=0, description="The hinge on codes centred over time in each sequence."
    )
    temporal_cov: float = Field(
        0.0, ge=0, description="The covariances of codes centred over time in each sequence."
    )
    nt_xent: float = Field(0.0, ge=0, description="SimCLR's loss, across sequences.")
    sigreg: float = Field(
        0.0, ge=0, description="Distance of random projections of all codes from a Gaussian."
    )
    sigreg_centred: float = Field(
        0.0, ge=0, description="sigreg on codes centred over time in each sequence."
    )
    time_sim: float = Field(0.0, ge=0, description="Mean squared error of e_(t+1) against e_t.")
    decoding: float = Field(0.0, ge=0, description="Squared error of pixels decoded from e_t.")

    def weights(self) -> Mapping[str, float]:
        """The terms that take part, by name."""
        return {name: weight for name, weight in self.model_dump().items() if weight > 0}


class Combo(Section):
    """What the terms of `objective: combo` need beside their weights."""

    infonce_temp: float = Field(0.1, gt=0, description="Temperature of infonce and its kin.")
    static_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Constant share of the variance that var_ratio does not penalise.",
    )
    idm_hidden_dim: int = Field(256, ge=1, description="Hidden units of the MLP of idm_enc.")
    sigreg_slices: int = Field(256, ge=1, description="Random directions of sigreg.")
    sigreg_knots: int = Field(17, ge=2, description="Frequencies compared along each direction.")


class Probe(Section):
    """The read-out of positions from frozen codes, by which every objective is scored."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    kind: Literal["closed_form", "published"] = Field(
        "closed_form",
        description="closed_form: exact least squares; published: Adam over many batches.",
    )
    size: int = Field(10000, ge=1, description="Sequences in one pass of the probe's training.")
    batch_size: int | None = Field(
        None, ge=1, description="Sequences in a batch of the probe; `batch_size` if unset."
    )
    ridge: float | None = Field(
        None,
        ge=0,
        description="Ridge of closed_form, per unit of mean squared code entry; if unset 1e-6, or "
        "chosen on held-out rows where there are fewer than 20 to an entry of the code.",
    )
    lr: float = Field(1e-3, gt=0, description="Adam's learning rate (published).")
    epochs: int = Field(30, ge=1, description="Passes over fresh data (published).")
    epochs_enc: int = Field(30, ge=1, description="Passes of the encoder's own probe (published).")
    prober_arch: str = Field(
        "",
        pattern=r"^(\d+(-\d+)*)?$",
        description="Hidden widths of the probe (published); empty for a linear map.",
    )
    mpc: bool = Field(
        False, description="Whether actions are planned in latent space and the miss is scored."
    )
    mpc_planner: Literal["gradient", "cem", "mppi"] = Field(
        "gradient",
        description="gradient: Adam on the actions; cem: a Gaussian refitted to the best of many "
        "candidates; mppi: its mean weighed by how near each candidate ends.",
    )
    mpc_episodes: int = Field(20, ge=1, description="Episodes planned.")
    mpc_steps: int | None = Field(
        None, ge=1, description="Actions until the goal must be reached; `val_n_steps` if unset."
    )
    mpc_horizon: int | None = Field(
        None,
        ge=1,
        description="Actions planned ahead from every new frame, of which one is taken; if unset "
        "all are planned once, from the first frame.",
    )
    mpc_iterations: int | None = Field(
        None,
        ge=1,
        description="Iterations of a plan; if unset 100 for gradient, 10 for the others.",
    )
    mpc_lr: float = Field(0.1, gt=0, description="Adam's learning rate on normalised actions.")
    mpc_candidates: int = Field(256, ge=2, description="Candidates in a round of cem and mppi.")
    mpc_elites: int = Field(25, ge=1, description="Number of best candidates that cem fits.")
    mpc_temperature: float = Field(
        0.1,
        gt=0,
        description="Temperature of mppi's weights, in deviations of the candidates' distances.",
    )
    shifts: bool = Field(
        False,
        description="Whether rollouts are also read where dots are smaller or larger, darker or "
        "brighter, slower or faster than in training.",
    )

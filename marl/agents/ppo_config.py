"""Members and settings of the PPO family."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

FAMILY: dict[str, Literal["own", "all"]] = {  # observations in the critic's input
    "ippo": "own",  # de Witt et al. 2020
    "mappo": "all",  # Yu et al. 2022
}


class PPOConfig(BaseModel):
    """Settings of the PPO family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["ippo", "mappo"] = "ippo"
    networks: Literal["one", "each"] = Field(
        "one", description="one actor and critic for all agents of a group, or one for each"
    )
    network: Literal["mlp", "set"] = Field("mlp", description="kind of actor and critic network")
    hidden: tuple[PositiveInt, ...] = Field(
        (64, 64), min_length=1, description="mlp: units of each hidden layer"
    )
    width: int = Field(64, ge=1, description="set: units of each layer")
    actor_pool: bool = Field(
        True,
        description="set: the actor also gets the maximum over all targets, which grows with them",
    )
    encoder: Literal["nature", "residual"] = Field(
        "nature", description="pictures: the convolutions before the hidden layers"
    )
    memory: int = Field(
        0, ge=0, description="mlp: units of a gated recurrent unit in actor and critic; 0: none"
    )
    layer_norm: tuple[Literal["actor", "critic"], ...] = Field(
        (), description="networks whose hidden layers have layer normalisation"
    )
    normalise: bool = Field(
        False, description="mlp: shift and scale observations by their running statistics"
    )
    gamma: float = Field(0.95, ge=0, lt=1, description="discount factor")
    gae_lambda: float = Field(
        0.95, ge=0, le=1, description="lambda of the advantages: 0 one step, 1 the whole return"
    )
    actor_lr: float = Field(7e-4, gt=0, description="Adam's learning rate of the actor")
    critic_lr: float = Field(7e-4, gt=0, description="Adam's learning rate of the critic")
    final_lr: float = Field(
        1.0, gt=0, le=1, description="learning rates fall linearly to this share of their start"
    )
    epochs: int = Field(5, ge=1, description="passes over each rollout")
    minibatches: int = Field(1, ge=1, description="parts of a rollout, one optimiser step each")
    ratio_clip: float = Field(
        0.2, gt=0, description="largest change of an action's probability ratio that pays"
    )
    value_clip: float = Field(
        0.2, ge=0, description="largest change of a (normalised) value that counts; 0: no limit"
    )
    entropy: float = Field(0.01, ge=0, description="weight of the policy's entropy")
    deviation: float = Field(
        0.5, gt=0, description="standard deviation of numbers at the start; it is learned"
    )
    normalise_values: bool = Field(
        True, description="the critic predicts returns scaled by their running statistics"
    )
    normalise_advantages: bool = Field(
        True, description="advantages of a rollout have mean 0 and deviation 1"
    )
    average: float = Field(
        0.0, ge=0, lt=1, description="decay of the actor average that acts greedily; 0: no average"
    )
    gradient_clip: float = Field(
        0.5, ge=0, description="largest norm of a network's gradient; 0: no limit"
    )
    augment: bool = Field(
        False,
        description="turn and reflect batches by the square's symmetries; shift pictures at random",
    )

    @property
    def joint(self) -> bool:
        """Do critics see everybody's observations?"""
        return FAMILY[self.name] == "all"

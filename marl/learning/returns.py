"""Returns of several steps."""

from torch import Tensor


def lambda_returns(
    reward: Tensor,
    discount: Tensor,
    next_value: Tensor,
    continues: Tensor,
    share: float,
) -> Tensor:
    """The lambda return of every step of T steps in order, [..., T, B] (Sutton & Barto 2018,
    section 12.1), computed backwards:

        G_t = r_t + discount_t ((1 - share) v_t + share G_t+1)

    `discount`: gamma, or 0.0 where the task ended. `next_value`: v_t, the value of the state after
    the step. `continues`: 1.0 where the next row is the next step, 0.0 where it is not (time ran
    out, or it is unknown); there v_t stands for all that follows. `share`: lambda; 0.0 is the
    return of one step, 1.0 that of all steps. Minus the values of the states before the steps, they
    are generalised advantages (Schulman et al. 2016, equation 16).
    """
    carry = discount * share * continues  # how much of G_t+1 there is in G_t
    rest = reward + (discount - carry) * next_value
    rest[..., -1, :] += carry[..., -1, :] * next_value[..., -1, :]
    returns, shares = rest.numpy(), carry.numpy()  # a loop over small arrays costs numpy less
    for t in reversed(range(reward.shape[-2] - 1)):
        returns[..., t, :] += shares[..., t, :] * returns[..., t + 1, :]
    return rest

"""What a level-1 file holds, before anything is judged or converted: the common ground of all layouts."""

from typing import Any, NamedTuple

from processors.arrays import FloatArray


class Orbit(NamedTuple):
    """Arc of one end as the file gives it.

    Attributes
    ----------
    position : FloatArray
        Positions [m] (or what the file takes for metres), shape (n, 3); NaN where missing.
    velocity : FloatArray or None
        Velocities [m s-1], shape (n, 3), if the file has them.
    frame : str
        Frame of the positions as the layout declares it: earth_fixed or inertial.
    residual : float
        Misfit of a fit already made while reading [m].
    """

    position: FloatArray
    velocity: FloatArray | None
    frame: str
    residual: float = 0.0


class PhaseRecord(NamedTuple):
    """Excess phases and orbits of one occultation.

    Attributes
    ----------
    time : FloatArray
        Receive times [s since 1980-01-06, GPS], shape (n,).
    excess_phase : FloatArray
        Excess phase [m], shape (2, n).
    snr : FloatArray
        Signal-to-noise ratio in volts [1], shape (2, n).
    carrier_frequency : FloatArray
        Frequencies [Hz], shape (2,).
    receiver, transmitter : Orbit
        Both ends; the transmitter at transmission.
    attributes : dict
        Identity of the event: transmitter, receiver, mission and whatever else the file tells.
    findings : dict
        What reading or repairing found: a code in snake case and how many times.
    upper_first : bool
        Whether the layout itself says that the first signal has the higher frequency.
    keeps_velocity : bool
        Whether velocities that carry the end along its positions are better than a fit.
    """

    time: FloatArray
    excess_phase: FloatArray
    snr: FloatArray
    carrier_frequency: FloatArray
    receiver: Orbit
    transmitter: Orbit
    attributes: dict[str, Any]
    findings: dict[str, int]
    upper_first: bool = False
    keeps_velocity: bool = False

    def found(self, code: str, count: int = 1) -> "PhaseRecord":
        """Note a finding; counts of the same code add up.

        Parameters
        ----------
        code : str
            Code in snake case.
        count : int
            How many times.

        Returns
        -------
        PhaseRecord
            The record with the finding.
        """
        return self._replace(findings={**self.findings, code: self.findings.get(code, 0) + count})


class BendingRecord(NamedTuple):
    """Bending angles of one occultation that another center retrieved.

    Attributes
    ----------
    impact_parameter : FloatArray
        Impact parameter [m], shape (n,), in any order.
    bending_angle : FloatArray
        Bending angle with the ionosphere removed [rad], shape (n,).
    bending_angle_l1, bending_angle_l2, bending_angle_optimized : FloatArray
        Bending angles of both signals and after statistical optimisation [rad], shape (n,); NaN where unknown.
    latitude, longitude : FloatArray
        Tangent points [degree], shape (n,).
    attributes : dict
        Scalars of the event, as in the contract of `bending_profile`.
    """

    impact_parameter: FloatArray
    bending_angle: FloatArray
    bending_angle_l1: FloatArray
    bending_angle_l2: FloatArray
    bending_angle_optimized: FloatArray
    latitude: FloatArray
    longitude: FloatArray
    attributes: dict[str, Any]

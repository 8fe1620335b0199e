"""All parameters of the retrieval, by step: what is not in the data is here, and hashed in the provenance."""

from dataclasses import dataclass, field

from retrieval.occultation import (
    background,
    bridging,
    geometric_optics,
    ionosphere,
    observation,
    quality,
    scintillation,
    signal_bending,
    statistical_optimization,
    super_refraction,
    truncation,
    uncertainty,
    wave_optics,
)


@dataclass(frozen=True)
class OccultationParameters:
    """All parameters of the retrieval, by step."""

    levels: observation.LevelParameters = field(default_factory=observation.LevelParameters)
    doppler: geometric_optics.DopplerFilter = field(default_factory=geometric_optics.DopplerFilter)
    waves: wave_optics.WaveOpticsParameters = field(default_factory=wave_optics.WaveOpticsParameters)
    blend: signal_bending.BlendParameters = field(default_factory=signal_bending.BlendParameters)
    signal_loss: truncation.TruncationParameters = field(default_factory=truncation.TruncationParameters)
    ionospheric_correction: ionosphere.IonosphereParameters = field(default_factory=ionosphere.IonosphereParameters)
    gaps: bridging.BridgingParameters = field(default_factory=bridging.BridgingParameters)
    multipath: observation.MultipathParameters = field(default_factory=observation.MultipathParameters)
    background_model: background.BackgroundParameters = field(default_factory=background.BackgroundParameters)
    optimization: statistical_optimization.OptimizationParameters = field(
        default_factory=statistical_optimization.OptimizationParameters
    )
    errors: uncertainty.UncertaintyParameters = field(default_factory=uncertainty.UncertaintyParameters)
    assumed_errors: uncertainty.AssumedErrors = field(default_factory=uncertainty.AssumedErrors)
    ducts: super_refraction.SuperRefractionParameters = field(
        default_factory=super_refraction.SuperRefractionParameters
    )
    electrons: scintillation.ScintillationParameters = field(default_factory=scintillation.ScintillationParameters)
    thresholds: quality.QualityThresholds = field(default_factory=quality.QualityThresholds)

    def of_observation(self) -> observation.ObservationParameters:
        """Parameters of the steps from phase to corrected bending.

        Returns
        -------
        observation.ObservationParameters
            The same values.
        """
        return observation.ObservationParameters(
            levels=self.levels,
            doppler=self.doppler,
            waves=self.waves,
            blend=self.blend,
            signal_loss=self.signal_loss,
            ionospheric_correction=self.ionospheric_correction,
            gaps=self.gaps,
            multipath=self.multipath,
        )

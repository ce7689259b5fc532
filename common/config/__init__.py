"""Settings of a run: typed, documented, validated once, written back as commented TOML.

Only this package reads kebab-case settings. The `privacy` section alone changes what is guaranteed; the
`runtime` section never changes a result.
"""

from common.config.federation import FederationSettings
from common.config.layers import Settings, join_assignments, parse_assignment, read_toml, resolve
from common.config.sections import (
    DataSettings,
    ModelSettings,
    PrivacySettings,
    RunConfig,
    RuntimeSettings,
)
from common.config.text import describe_settings, to_toml
from common.config.training import TrainingSettings

__all__ = [
    "DataSettings",
    "FederationSettings",
    "ModelSettings",
    "PrivacySettings",
    "RunConfig",
    "RuntimeSettings",
    "Settings",
    "TrainingSettings",
    "describe_settings",
    "join_assignments",
    "parse_assignment",
    "read_toml",
    "resolve",
    "to_toml",
]

//! What an option is. [`OPTIONS`] holds all of them.

use super::value::Kind;

pub use super::table::OPTIONS;

/// One thing that can be configured, under one name in three spellings: `--rest-port`,
/// `OIP_REST_PORT`, `rest_port`.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ConfigOption {
    /// The name as `oip.properties` spells it; the other two spellings follow from it.
    pub key: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Its value where none is given, as a user would write it; empty when there is none.
    pub default: &'static str,
    /// Which chapter of the reference it belongs to.
    pub group: Group,
    /// What it does, in one or two sentences.
    pub help: &'static str,
    /// Environment names of the Python original and of KServe, the stronger first.
    pub environment: &'static [&'static str],
    /// Keys of the Python original and of KServe, the stronger first.
    pub properties: &'static [&'static str],
    /// Flags of KServe's `ModelServer`, with their underscores.
    pub flags: &'static [&'static str],
    /// Whether the flag of KServe's stands alone for `true`.
    pub bare: bool,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// Whether a change in a watched file takes effect without a restart.
    pub hot: bool,
    /// What this version does with it.
    pub standing: Standing,
}

/// What this version does with an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does what its help says.
    Honoured,
    /// It is read so that an existing deployment starts, and changes nothing.
    Accepted,
}

/// The chapters of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Addresses and ports.
    Addresses,
    /// The model repository and how models run.
    Models,
    /// What is answered and to whom.
    Requests,
    /// What one caller can take.
    Limits,
    /// How the server ends.
    Stopping,
    /// What it writes.
    Logging,
    /// Who may do what.
    Security,
    /// Names that are accepted and do nothing.
    Compatibility,
}

impl Group {
    /// Every group, in the order of the reference.
    pub const ALL: [Self; 8] = [
        Self::Addresses,
        Self::Models,
        Self::Security,
        Self::Requests,
        Self::Limits,
        Self::Stopping,
        Self::Logging,
        Self::Compatibility,
    ];

    /// Its heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Addresses => "Addresses",
            Self::Models => "Models",
            Self::Requests => "Requests and answers",
            Self::Limits => "Limits",
            Self::Stopping => "Stopping",
            Self::Logging => "Logging",
            Self::Security => "Security",
            Self::Compatibility => "Accepted without effect",
        }
    }
}

impl ConfigOption {
    pub(super) const fn new(
        group: Group,
        key: &'static str,
        kind: Kind,
        default: &'static str,
        help: &'static str,
    ) -> Self {
        Self {
            key,
            kind,
            default,
            group,
            help,
            environment: &[],
            properties: &[],
            flags: &[],
            bare: false,
            secret: false,
            hot: false,
            standing: Standing::Honoured,
        }
    }

    /// Adds names that stand for this option in the environment, in files and as flags.
    pub(super) const fn also(
        mut self,
        environment: &'static [&'static str],
        properties: &'static [&'static str],
        flags: &'static [&'static str],
    ) -> Self {
        self.environment = environment;
        self.properties = properties;
        self.flags = flags;
        self
    }

    pub(super) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(super) const fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    pub(super) const fn hot(mut self) -> Self {
        self.hot = true;
        self
    }

    pub(super) const fn accepted(mut self) -> Self {
        self.standing = Standing::Accepted;
        self
    }

    /// The flag without its dashes: `rest-port`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// The environment name: `OIP_REST_PORT`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("OIP_{}", self.key.to_ascii_uppercase())
    }

    /// Every flag, ours first, without dashes.
    pub fn flag_spellings(&self) -> impl Iterator<Item = String> {
        std::iter::once(self.flag()).chain(self.flags.iter().map(|name| (*name).to_owned()))
    }

    /// Every environment name, ours first.
    pub fn variable_spellings(&self) -> impl Iterator<Item = String> {
        let others = self.environment.iter().map(|name| (*name).to_owned());
        std::iter::once(self.variable()).chain(others)
    }

    /// Every key in a file, ours first.
    pub fn key_spellings(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.key).chain(self.properties.iter().copied())
    }
}

/// Finds an option by its key.
#[must_use]
pub fn option(key: &str) -> Option<&'static ConfigOption> {
    OPTIONS.iter().find(|option| option.key == key)
}

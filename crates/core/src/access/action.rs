//! What a caller may ask for, as policies name it.

/// One kind of thing that a caller may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Run a model.
    Infer,
    /// Read what a model declares.
    Metadata,
    /// Ask whether a model, or the server, is ready.
    Ready,
    /// Ask whether the server lives.
    Live,
    /// Read what the server says of itself.
    ServerMetadata,
    /// Load a model.
    Load,
    /// Unload a model.
    Unload,
    /// List the models of the repository.
    Index,
    /// Read a model's statistics.
    Statistics,
    /// Read a model's configuration.
    Config,
    /// Read or change the log settings.
    Logging,
    /// Read or change the trace settings.
    Trace,
    /// Read the metrics.
    Metrics,
    /// Read the description of the interface.
    Openapi,
    /// Use gRPC reflection.
    Reflection,
}

impl Action {
    /// Every action, in the order of their declaration.
    pub const ALL: [Self; 15] = [
        Self::Infer,
        Self::Metadata,
        Self::Ready,
        Self::Live,
        Self::ServerMetadata,
        Self::Load,
        Self::Unload,
        Self::Index,
        Self::Statistics,
        Self::Config,
        Self::Logging,
        Self::Trace,
        Self::Metrics,
        Self::Openapi,
        Self::Reflection,
    ];

    /// The action of a name, as [`name`](Self::name) gives it.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    /// The name in policies, such as `"server_metadata"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Infer => "infer",
            Self::Metadata => "metadata",
            Self::Ready => "ready",
            Self::Live => "live",
            Self::ServerMetadata => "server_metadata",
            Self::Load => "load",
            Self::Unload => "unload",
            Self::Index => "index",
            Self::Statistics => "statistics",
            Self::Config => "config",
            Self::Logging => "logging",
            Self::Trace => "trace",
            Self::Metrics => "metrics",
            Self::Openapi => "openapi",
            Self::Reflection => "reflection",
        }
    }

    /// The action as it stands in a sentence after "you are not permitted to".
    pub(super) const fn phrase(self) -> &'static str {
        match self {
            Self::Infer => "run this model",
            Self::Metadata => "read this model's metadata",
            Self::Ready => "ask for readiness",
            Self::Live => "ask for liveness",
            Self::ServerMetadata => "read the server's metadata",
            Self::Load => "load models",
            Self::Unload => "unload models",
            Self::Index => "list the models",
            Self::Statistics => "read statistics",
            Self::Config => "read this model's configuration",
            Self::Logging => "use the log settings",
            Self::Trace => "use the trace settings",
            Self::Metrics => "read the metrics",
            Self::Openapi => "read the interface description",
            Self::Reflection => "use reflection",
        }
    }
}

/// The actions as types, so that a [`Permit`](super::Permit) says in its type what it is for.
pub mod actions {
    use super::Action;

    /// A type that stands for an action.
    pub trait Permitted: Send + Sync + 'static {
        /// The action.
        const ACTION: Action;
    }

    macro_rules! actions {
        ($($name:ident),* $(,)?) => {
            $(
                #[doc = concat!("[`Action::", stringify!($name), "`].")]
                #[derive(Debug)]
                pub struct $name;

                impl Permitted for $name {
                    const ACTION: Action = Action::$name;
                }
            )*
        };
    }

    actions! {
        Infer, Metadata, Ready, Live, ServerMetadata, Load, Unload, Index, Statistics, Config,
        Logging, Trace, Metrics, Openapi, Reflection,
    }
}

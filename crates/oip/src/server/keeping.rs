//! What a server does for its gates while it runs: nothing in a build without them.

#[cfg(feature = "auth")]
use crate::gates::Keeper;

#[cfg(not(feature = "auth"))]
enum Keeper {}

/// Begins new files.
pub(super) type Reopen = std::sync::Arc<dyn Fn() + Send + Sync>;

/// Keeps the gates working that the configuration describes, where it describes any.
#[derive(Default)]
pub(super) struct Keeping(Option<Keeper>);

#[cfg(feature = "auth")]
impl Keeping {
    pub(super) fn of(keeper: Keeper) -> Self {
        Self(Some(keeper))
    }

    /// Begins, where there is a tokio runtime to do it in.
    pub(super) fn start(&self) {
        if let (Some(keeper), Ok(_)) = (&self.0, tokio::runtime::Handle::try_current()) {
            keeper.start();
        }
    }

    /// Begins new files where those in use were moved away; `None` where there are none. Blocks.
    pub(super) fn reopener(&self) -> Option<Reopen> {
        let keeper = self.0.as_ref()?;
        Some(std::sync::Arc::new(keeper.reopener()))
    }

    /// Ends, when everything was answered.
    pub(super) async fn close(self) {
        if let Some(keeper) = self.0 {
            keeper.close().await;
        }
    }
}

#[cfg(not(feature = "auth"))]
impl Keeping {
    pub(super) fn start(&self) {}

    pub(super) fn reopener(&self) -> Option<Reopen> {
        None
    }

    pub(super) async fn close(self) {
        match self.0 {
            None => {}
            Some(never) => match never {},
        }
    }
}

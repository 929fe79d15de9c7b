//! What a server does for its gates while it runs: nothing in a build without them.

#[cfg(feature = "auth")]
use crate::gates::Keeper;

#[cfg(not(feature = "auth"))]
enum Keeper {}

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

    pub(super) async fn close(self) {
        match self.0 {
            None => {}
            Some(never) => match never {},
        }
    }
}

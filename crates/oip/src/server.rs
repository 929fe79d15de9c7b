//! placeholder
pub struct Server;

//! Model repositories and ONNX engines for an Open Inference Protocol server.
//!
//! | room | what is in it |
//! |---|---|
//! | [`model`] | [`Model`] and [`Engine`]: what an engine author implements |
//! | [`directory`] | which models and versions a folder holds; reading only |
//! | [`repository`] | [`Repository`]: a folder of models as [`oip_core::Models`] |
//! | `schedule` | how requests come to the instances of a model, alone or in batches |
//! | `cache` | answers kept for requests that are the same |
//! | [`engine`] | the two engines: ONNX Runtime and tract |
//! | [`settings`] | [`ModelSettings`]: `model.toml`, how one model is served |
//! | [`library`] | where a machine keeps the shared library of ONNX Runtime |
//!
//! ```no_run
//! use oip_core::Models;
//! use oip_runtime::{Repository, RepositoryOptions};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let repository = Repository::open(RepositoryOptions::new("examples/models"))?;
//! repository.start().await;
//! for model in repository.overview() {
//!     println!("{}: {}", model.name, model.state.name());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What is absent on purpose: doors, callers, wire forms, the environment.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod cache;
pub mod directory;
pub mod engine;
pub mod library;
pub mod model;
pub mod repository;
mod schedule;
pub mod settings;

pub use library::{OnnxRuntime, Surroundings};
pub use model::{Engine, Laps, LoadError, Model, ModelFile, Note};
pub use repository::{ModelControl, OpenError, Repository, RepositoryOptions};
pub use settings::ModelSettings;

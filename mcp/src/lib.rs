//! MCP for ctxnode: tools, prompts and resources over the daemon's gate, the rendering of start output, the stdio shim.
//!
//! The daemon implements [`Backend`] and serves connections with [`serve_stream`] and [`http_service`]; `ctxnode mcp` is
//! [`shim::run`]. Never here: the store, its documents, the search index. Everything goes through [`Backend::call`], which
//! is the same gate that HTTP callers pass.

mod answer;
pub mod backend;
mod fit;
mod prompts;
pub mod render;
mod resources;
mod schema;
mod serve;
mod server;
pub mod shim;
pub mod tools;
mod twin;

pub use answer::NOTICES;
pub use backend::{Answered, Backend, CallMeta, Changed};
pub use serve::{Http, HttpOptions, ServeError, http_service, serve_stream};
pub use server::Server;
pub use shim::{ShimExit, ShimOptions};

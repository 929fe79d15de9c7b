//! The doors over real sockets. One binary, as linking is what takes long.

mod alignment;
mod client;
mod corpus;
mod drain;
mod errors;
mod gone;
mod hang;
mod heads;
mod http;
mod lab;
mod limits;
mod names;
mod parity;
mod streams;
mod takers;
mod tls;
mod unread;

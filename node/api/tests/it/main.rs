//! Tests of the contract as its users see it: the table, the schemas made from it, and the client against a server.

#[cfg(test)]
mod client;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod server;

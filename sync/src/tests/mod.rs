//! What must hold for a whole fleet.

mod sim;
mod transfer;

/// A simulated fleet allocates a quarter of a million times; a fifth of its time went there with the allocator of libc.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

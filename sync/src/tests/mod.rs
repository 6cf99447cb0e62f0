//! What must hold for a whole fleet.

mod sim;

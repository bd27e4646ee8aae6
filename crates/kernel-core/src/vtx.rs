//! What the kernel decides about Intel's virtualisation extension, without its instructions.

pub mod controls;
pub mod exit;

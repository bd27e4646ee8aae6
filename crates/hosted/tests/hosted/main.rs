//! Whole systems in processes of this computer.

mod events;
mod identity;
mod life;
mod systems;
mod traces;
mod walls;

//! Whole systems in processes of this computer.

mod life;
mod systems;
mod traces;
mod walls;

#![no_std]
#![no_main]
solo5::subject!(main);
fn main(_: &solo5::StartInfo) -> i32 { 0 }

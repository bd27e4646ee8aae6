//! Behaves like a foreign unikernel with ABI version 3 and subject info version 03.

#![no_std]
#![no_main]

legacy::probe!(abi = 3, magic = 0x0300_6f66_6e69_756d);

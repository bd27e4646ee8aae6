//! Behaves like a foreign unikernel with ABI version 3 and subject info version 04.

#![no_std]
#![no_main]

legacy::probe!(abi = 3, magic = 0x0400_6f66_6e69_756d);

//! Behaves like a foreign unikernel with ABI version 4, subject info version 05 and a network device.

#![no_std]
#![no_main]

legacy::probe!(abi = 4, magic = 0x0500_6f66_6e69_756d, networks = ["service"]);

//! The command as its users meet it: exit statuses, messages, files. The emulator is a stand-in that says what a test
//! wants; the real one is used by the whole-system tests.

mod bad_input;
mod build;
mod exit_status;
mod left_behind;
mod machine;
mod output;
mod run;
mod site;
mod verbs;

//! Whether a debugger looks at a process.

use std::fs;

/// Whether a process is traced (proc(5), `TracerPid`).
pub(crate) fn is_attached(process: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|tracer| tracer.trim() != "0")
}

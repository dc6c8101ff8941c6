//! What the operating system says about this process and its files.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes that the files of a directory and of those in it occupy.
///
/// # Errors
/// If it cannot be listed.
pub fn bytes_on_disk(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            bytes += bytes_on_disk(&entry.path())?;
            continue;
        }
        #[cfg(unix)]
        let occupied = std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
        #[cfg(not(unix))]
        let occupied = metadata.len();
        bytes += occupied;
    }
    Ok(bytes)
}

/// The most memory this process had resident so far, in bytes, mappings included; `None` where
/// `/proc` does not tell.
pub fn peak_memory_bytes() -> Option<u64> {
    proc_field("/proc/self/status", "VmHWM:").map(|kib| kib << 10)
}

/// Private memory of this process now (heap, stacks; no mappings of files), in bytes; `None` where
/// `/proc` does not tell.
pub fn private_memory_bytes() -> Option<u64> {
    proc_field("/proc/self/status", "RssAnon:").map(|kib| kib << 10)
}

/// Runs something and tells the most private memory seen meanwhile, looked at every few
/// milliseconds; 0 where `/proc` does not tell.
pub fn with_peak_private_memory<T>(body: impl FnOnce() -> T) -> (u64, T) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = 0;
            loop {
                peak = peak.max(private_memory_bytes().unwrap_or(0));
                if done.load(Ordering::Relaxed) {
                    return peak;
                }
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        let result = body();
        done.store(true, Ordering::Relaxed);
        (watcher.join().unwrap_or(0), result)
    })
}

/// Bytes that this process caused to be written to the device; `None` where `/proc` does not
/// tell.
pub fn device_bytes_written() -> Option<u64> {
    proc_field("/proc/self/io", "write_bytes:")
}

/// Processor time of this thread so far; `None` where `/proc` does not tell. On a busy machine it
/// says more about the code than the clock on the wall does.
pub fn thread_processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// What a thread of this process did so far.
#[derive(Debug)]
pub struct ThreadTime {
    /// Its name; Linux keeps 15 bytes of it.
    pub name: String,
    /// On a processor.
    pub ran: Duration,
    /// Ready to run, while others did.
    pub waited: Duration,
}

/// The threads of this process; none where `/proc` does not tell.
pub fn thread_times() -> Vec<ThreadTime> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let time = |dir: std::path::PathBuf| {
        let name = std::fs::read_to_string(dir.join("comm")).ok()?.trim().to_owned();
        let text = std::fs::read_to_string(dir.join("schedstat")).ok()?;
        let mut nanos = text.split_whitespace().map(|field| field.parse().ok());
        let mut next = || nanos.next().flatten().map(Duration::from_nanos);
        Some(ThreadTime { name, ran: next()?, waited: next()? })
    };
    threads.filter_map(|thread| time(thread.ok()?.path())).collect()
}

fn proc_field(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Model of the processor, number of cores and how busy they are, for the record.
pub fn description() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let (system, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown");
    format!("{model}, {cores} cores, {system} {architecture}, load average {load} at the start")
}

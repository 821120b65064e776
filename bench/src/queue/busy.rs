//! Threads that do nothing but take processor time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::Result;

/// As many spinning threads as there are processors.
pub struct BusyThreads {
    running: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl BusyThreads {
    /// Starts the threads with this nice value, between 0 (ordinary) and 19 (idle time alone).
    pub fn start(nice: i32) -> Result<Self> {
        let running = Arc::new(AtomicBool::new(true));
        let processors = std::thread::available_parallelism()?.get();
        let thread = |_| {
            let running = Arc::clone(&running);
            std::thread::spawn(move || {
                // Raising the nice value needs no permission.
                let _ = rustix::process::setpriority_process(None, nice);
                while running.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let threads = (0..processors).map(thread).collect();
        Ok(Self { running, threads })
    }

    /// Stops the threads and waits for them.
    pub fn stop(self) {
        self.running.store(false, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

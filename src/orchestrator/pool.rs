//! Threads that carry out what takes long: spawns, stops, removals. Knows
//! nothing of what they are about.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

type Job = Box<dyn FnOnce() + Send>;

/// A bounded number of threads, started when they are first needed.
pub struct Pool {
    most: usize,
    started: usize,
    jobs: mpsc::Sender<Job>,
    queue: Arc<Mutex<mpsc::Receiver<Job>>>,
}

impl Pool {
    /// A pool of at most this many threads.
    #[must_use]
    pub fn new(most: usize) -> Pool {
        let (jobs, queue) = mpsc::channel();
        Pool {
            most,
            started: 0,
            jobs,
            queue: Arc::new(Mutex::new(queue)),
        }
    }

    /// Has `job` done as soon as a thread is free, in the order of the calls.
    pub fn run(&mut self, job: impl FnOnce() + Send + 'static) {
        if self.started < self.most {
            self.started += 1;
            let queue = Arc::clone(&self.queue);
            thread::spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = next else { return };
                    job();
                }
            });
        }
        // The queue lives as long as we do.
        let _ = self.jobs.send(Box::new(job));
    }
}

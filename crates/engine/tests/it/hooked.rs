//! A directory that does something of its own in the middle of a call.

use std::any::Any;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use vfs::{Access, File, Fs, Listing, Lock, Name, Result};

type Action = Box<dyn FnOnce() + Send>;

/// What directories do, once, at some call.
#[derive(Clone, Default)]
pub(crate) struct Hook(Arc<Mutex<Option<(u64, Action)>>>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

impl Hook {
    /// At the call after `calls` others, before it is made.
    pub(crate) fn arm(&self, calls: u64, action: impl FnOnce() + Send + 'static) {
        *self.0.lock().expect("no panic") = Some((calls, Box::new(action)));
    }

    /// True if it was still to come.
    pub(crate) fn disarm(&self) -> bool {
        self.0.lock().expect("no panic").take().is_some()
    }

    fn call(&self) {
        let mut armed = self.0.lock().expect("no panic");
        match armed.take() {
            Some((0, action)) => {
                // The action makes calls too.
                drop(armed);
                action();
            }
            Some((left, action)) => *armed = Some((left - 1, action)),
            None => {}
        }
    }
}

/// A directory with a hook at its calls.
#[derive(Debug)]
pub(crate) struct Hooked {
    inner: Arc<dyn Fs>,
    hook: Hook,
    /// Else only where files are looked up: under other calls their owner holds locks.
    at_every_call: bool,
}

impl Hooked {
    /// With the hook at every call that is about names.
    pub(crate) fn at_every_call(inner: Arc<dyn Fs>, hook: &Hook) -> Arc<dyn Fs> {
        Arc::new(Hooked { inner, hook: hook.clone(), at_every_call: true })
    }

    /// With the hook where a file is linked or opened.
    pub(crate) fn at_look_ups(inner: Arc<dyn Fs>, hook: &Hook) -> Arc<dyn Fs> {
        Arc::new(Hooked { inner, hook: hook.clone(), at_every_call: false })
    }

    fn called(&self) -> &dyn Fs {
        if self.at_every_call {
            self.hook.call();
        }
        &*self.inner
    }

    fn looked_up(&self) -> &dyn Fs {
        self.hook.call();
        &*self.inner
    }
}

impl Fs for Hooked {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn create_new(&self, name: Name) -> Result<Arc<dyn File>> {
        self.called().create_new(name)
    }

    fn open(&self, name: Name, access: Access) -> Result<Arc<dyn File>> {
        self.looked_up().open(name, access)
    }

    fn rename(&self, from: Name, to: Name) -> Result<()> {
        self.called().rename(from, to)
    }

    fn link(&self, from: Name, to: &dyn Fs, to_name: Name) -> Result<()> {
        self.looked_up().link(from, to, to_name)
    }

    fn remove(&self, name: Name) -> Result<()> {
        self.called().remove(name)
    }

    fn list(&self) -> Result<Listing> {
        self.called().list()
    }

    fn sync_dir(&self) -> Result<()> {
        self.called().sync_dir()
    }

    fn create_dir(&self, name: Name) -> Result<Arc<dyn Fs>> {
        self.called().create_dir(name)
    }

    fn open_dir(&self, name: Name) -> Result<Arc<dyn Fs>> {
        self.called().open_dir(name)
    }

    fn remove_dir(&self, name: Name) -> Result<()> {
        self.called().remove_dir(name)
    }

    fn lock(&self) -> Result<Box<dyn Lock>> {
        self.called().lock()
    }

    fn free_space(&self) -> Result<u64> {
        self.called().free_space()
    }

    fn preallocation(&self) -> Result<vfs::fs::Preallocation> {
        self.inner.preallocation()
    }

    fn as_any(&self) -> &dyn Any {
        // Links lead to the directory itself.
        self.inner.as_any()
    }
}

//! A list that grows at one end and whose copies share everything: what is not synced yet, copied
//! at every call of a recorded run.

use std::fmt;
use std::sync::Arc;

/// A list of pending changes. Pushing and cloning take constant time.
pub(super) struct Chain<T> {
    newest: Option<Arc<Link<T>>>,
}

struct Link<T> {
    value: T,
    older: Option<Arc<Link<T>>>,
}

impl<T> Chain<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    pub(super) fn push(&mut self, value: T) {
        let older = self.newest.take();
        self.newest = Some(Arc::new(Link { value, older }));
    }

    pub(super) fn clear(&mut self) {
        *self = Chain::default();
    }

    /// Oldest first.
    pub(super) fn to_vec(&self) -> Vec<&T> {
        let mut values = Vec::new();
        let mut next = self.newest.as_deref();
        while let Some(link) = next {
            values.push(&link.value);
            next = link.older.as_deref();
        }
        values.reverse();
        values
    }
}

impl<T> Default for Chain<T> {
    fn default() -> Chain<T> {
        Chain { newest: None }
    }
}

impl<T> Clone for Chain<T> {
    fn clone(&self) -> Chain<T> {
        Chain { newest: self.newest.clone() }
    }
}

impl<T> Drop for Chain<T> {
    /// Link by link: left to itself, a long list would be dropped by recursion.
    fn drop(&mut self) {
        let mut next = self.newest.take();
        while let Some(link) = next.and_then(Arc::into_inner) {
            next = link.older;
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Chain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.to_vec()).finish()
    }
}

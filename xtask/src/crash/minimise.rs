//! Makes what fails shorter: delta debugging (Zeller and Hildebrandt, 2002), over the elements of a
//! list.

/// The shortest list found by leaving elements of `all` out for which `fails` still holds; it is
/// not asked about `all` itself. No single element of the result can be left out.
pub(super) fn shortest<T: Clone>(all: &[T], fails: &dyn Fn(&[T]) -> bool) -> Vec<T> {
    let mut list = all.to_vec();
    let mut piece = list.len().div_ceil(2).max(1);
    loop {
        let mut shorter = false;
        let mut start = 0;
        while start < list.len() {
            let end = list.len().min(start + piece);
            let rest = [&list[..start], &list[end..]].concat();
            if fails(&rest) {
                list = rest;
                shorter = true;
            } else {
                start = end;
            }
        }
        if piece == 1 && !shorter {
            return list;
        }
        piece = if shorter { piece.min(list.len()).max(1) } else { (piece / 2).max(1) };
    }
}

#[cfg(test)]
mod tests;

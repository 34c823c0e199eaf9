//! Reads files that people hand us, with a bound. What is in them is for others to say.

use std::io::Read;
use std::path::Path;

/// A file's text, unless it is larger than it can sensibly be.
///
/// # Errors
/// Why it cannot be read.
pub fn read_text(path: &Path, most: u64) -> std::result::Result<String, String> {
    // Not by the size that is told beforehand: a pipe or a device tells none.
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(most + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if read as u64 > most {
        return Err(format!("this file is larger than {most} bytes"));
    }
    Ok(text)
}

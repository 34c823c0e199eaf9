//! Reads the operator's text files with a size limit. Their formats are parsed elsewhere.

use std::io::Read;
use std::path::Path;

/// Returns the text of a file of at most `most` bytes.
///
/// # Errors
/// The reason, without the path: the file is missing, unreadable, too large, or not UTF-8.
pub fn read_text(path: &Path, most: u64) -> std::result::Result<String, String> {
    // The size in the metadata is not enough: pipes and devices have none.
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(most + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if read as u64 > most {
        return Err(format!("this file is larger than {most} bytes"));
    }
    Ok(text)
}

//! One error for the whole house: what kind it is (which decides the HTTP status), a public code, and one sentence for a person.
//! Errors are made where they are understood; the wire's envelope is made in the server's `http` and nowhere else.

use std::error::Error as StdError;
use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as a caller's next step is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request makes no sense as it is.
    InvalidArgument,
    /// Nobody we know, or no longer.
    Unauthenticated,
    /// Known, but not allowed.
    PermissionDenied,
    /// Not there, or not the caller's: the two are never told apart.
    NotFound,
    /// It was there and was deleted.
    Gone,
    /// It stands against what is already so.
    Conflict,
    /// A limit was reached.
    ResourceExhausted,
    /// The disk has no room for it.
    StorageFull,
    /// Promised by the contract, not built yet.
    Unimplemented,
    /// A part that is needed does not answer or is not configured.
    Unavailable,
    /// Our fault. The message is for the log; the client reads a general sentence.
    Internal,
}

impl ErrorKind {
    /// The public code, stable for programs.
    pub fn code(self) -> &'static str {
        match self {
            ErrorKind::InvalidArgument => "invalid_argument",
            ErrorKind::Unauthenticated => "unauthenticated",
            ErrorKind::PermissionDenied => "permission_denied",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Gone => "gone",
            ErrorKind::Conflict => "conflict",
            ErrorKind::ResourceExhausted => "resource_exhausted",
            ErrorKind::StorageFull => "storage_full",
            ErrorKind::Unimplemented => "not_implemented",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Internal => "internal",
        }
    }
}

#[derive(Debug)]
pub struct Error {
    pub kind: ErrorKind,
    pub message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), source: None }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::InvalidArgument, message)
    }

    /// `what` as in "capture session cap-…".
    pub fn not_found(what: impl fmt::Display) -> Self {
        Error::new(ErrorKind::NotFound, format!("{what} was not found"))
    }

    pub fn gone(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Gone, message)
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Conflict, message)
    }

    pub fn denied(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::PermissionDenied, message)
    }

    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Unauthenticated, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Unavailable, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Internal, message)
    }

    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut cause = self.source.as_deref().map(|s| s as &dyn StdError);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|s| s as &(dyn StdError + 'static))
    }
}

/// Turns a foreign error into ours at the edge where its meaning is known.
pub trait Context<T> {
    /// An error that is our fault, with what we were doing.
    fn internal(self, doing: impl fmt::Display) -> Result<T>;
    /// An error that is the fault of what we were given.
    fn invalid(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn internal(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|e| Error::internal(doing.to_string()).because(e))
    }

    fn invalid(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|e| Error::invalid(what.to_string()).because(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_its_causes_in_order() {
        let inner = Error::internal("disk full");
        let outer = Err::<(), _>(inner).internal("seal a chunk").unwrap_err();
        assert_eq!(outer.to_string(), "seal a chunk: disk full");
        assert_eq!(outer.kind.code(), "internal");
    }
}

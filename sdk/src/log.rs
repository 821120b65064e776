use crate::backend;

/// How grave a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Values of variables and the flow of control.
    Trace,
    /// Of interest to someone who debugs the function.
    Debug,
    /// Of interest to someone who watches it.
    Info,
    /// Hazardous situations.
    Warn,
    /// Serious errors.
    Error,
    /// Fatal errors.
    Critical,
}

/// Logs a line. The macros ([`trace!`](crate::trace!) to [`critical!`](crate::critical!)) format it and
/// give the module's path as `context`.
///
/// Natively it goes to the [testing](crate#testing) host, or to standard error where there is none.
pub fn log(level: Level, context: &str, message: &str) {
    backend::log(level, context, message);
}

/// Logs values of variables and the flow of control. It takes what [`format!`] takes.
#[macro_export]
macro_rules! trace {
    ($($argument:tt)+) => {
        $crate::log($crate::Level::Trace, ::core::module_path!(), &::std::format!($($argument)+))
    };
}

/// Logs what helps someone who debugs the function. It takes what [`format!`] takes.
#[macro_export]
macro_rules! debug {
    ($($argument:tt)+) => {
        $crate::log($crate::Level::Debug, ::core::module_path!(), &::std::format!($($argument)+))
    };
}

/// Logs what helps someone who watches the function. It takes what [`format!`] takes.
#[macro_export]
macro_rules! info {
    ($($argument:tt)+) => {
        $crate::log($crate::Level::Info, ::core::module_path!(), &::std::format!($($argument)+))
    };
}

/// Logs a hazardous situation. It takes what [`format!`] takes.
#[macro_export]
macro_rules! warn {
    ($($argument:tt)+) => {
        $crate::log($crate::Level::Warn, ::core::module_path!(), &::std::format!($($argument)+))
    };
}

/// Logs a serious error. It takes what [`format!`] takes.
#[macro_export]
macro_rules! error {
    ($($argument:tt)+) => {
        $crate::log($crate::Level::Error, ::core::module_path!(), &::std::format!($($argument)+))
    };
}

/// Logs a fatal error. It takes what [`format!`] takes.
#[macro_export]
macro_rules! critical {
    ($($argument:tt)+) => {
        $crate::log($crate::Level::Critical, ::core::module_path!(), &::std::format!($($argument)+))
    };
}

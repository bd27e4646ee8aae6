//! What makes a crate a unikernel with this library OS.

/// Makes the crate a unikernel that runs `async fn $main(System) -> Result<(), Error>`.
///
/// `arguments = [...]` names statics of type [`Argument`](crate::Argument), which the command line may have besides those
/// that every unikernel has. The stack has 256 KiB. The unikernel has one network device, `service`.
#[macro_export]
macro_rules! unikernel {
    ($main:path $(, arguments = [$($argument:path),* $(,)?])? $(,)?) => {
        const _: () = {
            static ARGUMENTS: &[$crate::Description] = &[$($($argument.describe()),*)?];

            fn start(start: &$crate::solo5::StartInfo) -> i32 {
                $crate::run(start, ARGUMENTS, $main)
            }

            $crate::solo5::unikernel!(start, stack = 256 * 1024, networks = ["service"]);
        };
    };
}

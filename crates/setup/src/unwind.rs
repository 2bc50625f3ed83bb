//! Walking the stack, which this program cannot: it is built without the tables that takes, and a panic ends it.
//!
//! That the walk ends at once is known while linking. So all that would name what it passes goes: debug
//! information's reader, its decompression and its names, and the C compiler's unwinder, 200 KB together.

/// `_URC_END_OF_STACK` of the C++ ABI for exceptions.
const END_OF_STACK: libc::c_int = 5;

#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "it takes the place of the unwinder's")]
extern "C" fn _Unwind_Backtrace(_: *const libc::c_void, _: *mut libc::c_void) -> libc::c_int {
    END_OF_STACK
}

/// What only a walk that found something calls.
macro_rules! never_called {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        #[expect(unsafe_code, reason = "it takes the place of the unwinder's")]
        extern "C" fn $name() -> ! {
            std::process::abort()
        }
    )*};
}

never_called! {
    _Unwind_DeleteException _Unwind_FindEnclosingFunction _Unwind_Find_FDE _Unwind_ForcedUnwind
    _Unwind_GetCFA _Unwind_GetDataRelBase _Unwind_GetIP _Unwind_GetIPInfo
    _Unwind_GetLanguageSpecificData _Unwind_GetRegionStart _Unwind_GetTextRelBase
    _Unwind_RaiseException _Unwind_Resume _Unwind_SetGR _Unwind_SetIP __gcc_personality_v0
}

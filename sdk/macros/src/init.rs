use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, ItemFn, Result, Signature};

use crate::handler::once;

const EXPECTED: &str = "expected `fn()` or `fn() -> Result<(), E>`";

/// The function as it was written, with its export or with what is wrong about it.
pub fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    match glue(arguments, item.clone()) {
        Ok(glue) => quote! { #item #glue },
        Err(error) => {
            let error = error.into_compile_error();
            quote! { #item #error }
        }
    }
}

fn glue(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let item_span = item.span();
    let function: ItemFn = syn::parse2(item).map_err(|_| {
        let message = format!("`init` belongs on a function; {EXPECTED}");
        Error::new(item_span, message)
    })?;
    if !arguments.is_empty() {
        let message = "`init` takes no arguments: the manifest says what it may ask for";
        return Err(Error::new_spanned(arguments, message));
    }
    let signature = &function.sig;
    check_signature(signature)?;

    let name = &signature.ident;
    // Errors point at what the compiler finds wanting.
    let returned = match &signature.output {
        syn::ReturnType::Default => name.span(),
        syn::ReturnType::Type(_, ty) => ty.span(),
    };
    let outcome = quote_spanned! { returned => __outcome };
    let once = once("init", name.span());
    let private = quote! { ::kinglet_sdk::__private };
    let text = quote! { ::core::result::Result<(), ::std::string::String> };
    Ok(quote! {
        #once
        const _: () = {
            #[allow(dead_code)]
            fn __init() -> #text {
                let __outcome = #name();
                #private::initialised(#outcome)
            }

            #[cfg(target_family = "wasm")]
            const _: () = {
                struct __Init;
                impl #private::init_function::exports::kinglet::events::init::Guest for __Init {
                    fn run() -> #text {
                        #private::done(__init())
                    }
                }
                #private::init_function::__export_init!(__Init with_types_in #private::init_function);
            };
        };
    })
}

/// What can be told from the text alone; types are left to the compiler.
fn check_signature(signature: &Signature) -> Result<()> {
    let refuse = |tokens: &dyn quote::ToTokens, what: &str| {
        Err(Error::new_spanned(tokens, format!("{what}; {EXPECTED}")))
    };
    if let Some(keyword) = &signature.asyncness {
        return refuse(
            keyword,
            "an init isn't `async`: there is nothing to wait for",
        );
    }
    if let Some(keyword) = &signature.unsafety {
        return refuse(keyword, "an init isn't `unsafe`");
    }
    if let Some(abi) = &signature.abi {
        return refuse(abi, "an init is a plain Rust function, without `extern`");
    }
    if !signature.generics.params.is_empty() {
        return refuse(&signature.generics, "an init has no generic parameters");
    }
    if !signature.inputs.is_empty() {
        return refuse(
            &signature.inputs,
            "an init takes nothing: there is no event when a function is built",
        );
    }
    Ok(())
}

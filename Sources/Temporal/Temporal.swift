#if !hasFeature(ExistentialAny) || !hasFeature(InternalImportsByDefault) || !hasFeature(MemberImportVisibility)
#error("an upcoming feature that Package.swift names is not known to this compiler")
#endif

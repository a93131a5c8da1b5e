"""Services and workers that are killed and stopped while they run syncs: is a tick lost, a row wrong?"""

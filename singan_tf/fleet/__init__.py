"""Many runs, in processes of their own: here, or by Apache Beam."""

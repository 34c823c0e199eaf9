module licentia.example/go

go 1.19
